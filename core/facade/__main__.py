from runpy import run_module

run_module("genzoo.cli", run_name="__main__", alter_sys=True)
