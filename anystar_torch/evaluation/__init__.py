"""Matching of predicted to true objects, scores, and pictures of both."""
