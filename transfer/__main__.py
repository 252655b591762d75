from transfer.cli.main import main

main()
