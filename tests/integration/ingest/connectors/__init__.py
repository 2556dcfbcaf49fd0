"""Every connector against the same table of cases."""
