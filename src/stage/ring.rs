//! SPSC rings between tiles (`rtrb`), and what each does when it is full.
