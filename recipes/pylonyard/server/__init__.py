"""Run the server of one site: ``bin/<site>`` starts, watches, stops and reports it.

The modules, and what each calls::

    cli ---> control ---> launch ---> supervisor (a process of its own) ---> paster serve
                |                         |                                    in shim.gentle
                |                         +-- takeover: the server, tested beside the old one
                |                         +-- sockets: handed to the next supervisor
                +-- status ---> system.processes, system.listeners

``recipes.init_script`` writes ``bin/<site>``; the script in ``/etc/init.d`` only calls that.
``gentle.py`` in this folder is for supervisors that were started before ``shim`` was made.

A restart starts a second supervisor, with the sockets of the first. Its server listens
on a temporary port until it answers. Then it gets the sockets, and the first supervisor ends.

No pid is ever read from a file: a process is ours if its environment carries our mark.
"""
