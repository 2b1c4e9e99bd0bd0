"""The one door for front ends: routes, credentials and composed answers; it decides nothing."""
