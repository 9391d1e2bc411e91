"""What does a rule say of two settings?"""

Conflict = tuple[bool, str, str, str]  # do they disagree, one of them, the other, why
