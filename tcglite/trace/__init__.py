"""What happened: typed events, the ring of block records, and logs in the format of QEMU's -d."""
