"""The tests. This folder and `support` are packages; the others are plain folders of test files."""
