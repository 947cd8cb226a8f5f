//! Step 4 of 9: the strategies, one file each.
