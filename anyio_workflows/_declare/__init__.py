"""What a user declares: steps, and the workflow class that holds them.

What the declarations amount to together is decided by the graph.
"""
