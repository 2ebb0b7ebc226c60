"""One site's server: started, watched, stopped and reported by ``bin/<site>``.

What calls what, one noun a module::

    cli ---> control ---> supervisor (a process of its own) ---> paster serve
                |             |
                +-- locking   +-- signals
                +-- intent, progress, report
                +-- sight ---> processes, listening, answering

No pid is ever read from a file: a process is ours if its environment says so.
"""
