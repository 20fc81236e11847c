"""Has redis-py's tests take the server for one that is no cluster: with `-p redis_py_plain`.

A member of HyperCache says that it is one of a cluster, and answers for every key; so plain clients
work, and their tests are the ones to run.
"""


def pytest_configure(config):
    from tests import conftest

    asked = conftest._get_info

    def info(url):
        return {**asked(url), "cluster_enabled": 0}

    conftest._get_info = info
