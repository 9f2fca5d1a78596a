"""What happens to rows between two walks: linear layers, norms, dropout, and what of it backward computes again."""
