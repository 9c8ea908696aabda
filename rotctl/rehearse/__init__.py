"""What a rotation does to an application's clients, tried on copies of its pods.

Two pods like those that serve, outside every Service but one of their own, and a Job whose clients
keep connections to the first: traffic moves to the second, the first ends. What fails is counted.
"""
