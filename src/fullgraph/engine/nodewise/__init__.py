"""What happens to each row by itself: linear layers, norms, dropout, and what of it backward computes again."""
