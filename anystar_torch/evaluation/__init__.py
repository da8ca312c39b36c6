"""How good labels are, and how they look: matching, scores, pictures."""
