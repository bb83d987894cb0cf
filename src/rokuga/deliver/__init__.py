"""What is delivered besides files: signed callbacks."""
