"""A person in the loop: who acts, what is stored, and what travels between a robot and an operator's page."""
