"""The range to rehearse on: virtual boxes, a nameserver and a CA, on loopback only."""
