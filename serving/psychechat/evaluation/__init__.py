"""`psychechat evaluate` and `psychechat gate`: whether a counselor does seekers good, and what it must never do.

cards (who comes) → seekers (who speaks and rates) → dialogue (turn by turn) → runs (many, kept and resumed) →
figures (the paper's four, by their formulas) → summary (with intervals) → page. `gate/` asks without a model that plays
the seeker, and answers with yes or no.
"""
