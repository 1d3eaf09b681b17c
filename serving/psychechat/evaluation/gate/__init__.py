"""`psychechat gate`: scripted seekers whom no counselor may fail, and what must be so in each of their turns.

scripts (what is said) → play (what came back) → checks (what must be so) → baseline (what has become worse)
"""
