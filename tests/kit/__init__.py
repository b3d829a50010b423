"""Fakes that are themselves tested: a house in one process, scripted clients and origins."""
