"""Rules: when a scene stays, changes or is unknown, something happens (`docs/rules.md`).

    states --> RuleEngine (pure) --> Firing --> publisher --> event on the bus
                                            \\-> Actions' thread --> webhooks, commands

`LiveRules` puts them into a run.
"""
