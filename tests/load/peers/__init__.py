"""The equal job: what closeloop's scoring and four stream processors make of the same topic on the same broker."""
