"""The doctor: what this machine can do, and what is wrong with the installation.

What is looked at runs in a child process, so that nothing broken, and nothing that hangs, can end
or hold up the rest.
"""
