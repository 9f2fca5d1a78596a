"""What layers walk over: which rows of other ranks a rank's edges need, and in which rounds they come."""
