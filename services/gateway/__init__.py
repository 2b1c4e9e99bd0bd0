"""The gateway: the one door for front ends. It fans out and never decides."""
