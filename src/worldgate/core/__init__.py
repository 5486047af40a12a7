"""What every room shares: data types and protocols, errors, names, digests, files, time, configuration, seams."""
