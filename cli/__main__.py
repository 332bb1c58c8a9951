from genzoo.cli.main import main

main()
