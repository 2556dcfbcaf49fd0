"""A believable brand for a first look: Lale sells things for the home and the wardrobe, in three languages."""
