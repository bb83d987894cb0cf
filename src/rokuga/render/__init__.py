"""Journal in, HLS out: a restartable, pure function of the journal."""
