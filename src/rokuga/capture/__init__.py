"""WebRTC in, journal out: transport, RTP, receive buffer. Never decodes."""
