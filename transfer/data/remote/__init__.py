"""Datasets on the Hub: found, downloaded or streamed, their columns recognised."""
