"""Authoring: what a lab's author does before and after grading exists.

    scaffold   `grader new`: a lab that holds, to be changed step by step into one's own
    lint       `grader lint`: what is weak or missing, by reading; and by kept results of `grader verify`
    kit        `grader release`: what students get, and nothing else
    messages   what has to be translated, and the catalogues

A lab has one source, ``labs/<id>`` and ``reference_solutions/<id>.ipynb``. Whatever leaves it is an allow-list: a kit is
put together from what is public, never by taking away what is secret, and is searched for secrets before it is written.
"""
