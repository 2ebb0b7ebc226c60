"""One site's server: started, watched, stopped and reported by ``bin/<site>``.

What calls what, one noun a module::

    cli ---> control ---> launch ---> supervisor (a process of its own) ---> paster serve
                |                         |                  in shim.gentle, shim.standing_in
                |                         +-- child: the server, and what it says
                |                         +-- takeover: beside another supervisor, then for it
                |                         +-- sockets: handed to whoever succeeds it
                +-- stop: ends what runs, by descriptors of its processes
                +-- status ---> system.processes, system.listeners

``recipes.init_script`` writes ``bin/<site>``; the script in ``/etc/init.d`` only calls that.
``gentle.py`` in this folder is for supervisors that were started before ``shim`` was made.

A restart starts a second supervisor, with the sockets of the first. Its server listens
elsewhere until it answers; then it is given the sockets, and the first one ends.

No pid is ever read from a file: a process is ours if its environment says so.
"""
