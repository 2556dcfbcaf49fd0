"""The commands of `closeloop` that work on this machine's database, one file each."""
