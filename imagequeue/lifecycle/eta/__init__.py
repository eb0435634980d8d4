"""ETA: forecast the position and the seconds of every waiting job."""
