"""Datasets on this machine: folders, zips, classes made in the browser, the digits."""
