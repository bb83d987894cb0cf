"""The machine that records: takes generations, supervises their processes, uploads, reports."""
