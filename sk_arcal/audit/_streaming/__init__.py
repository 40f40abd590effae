"""What an audit adds up over a stream, and how the stream is read."""
