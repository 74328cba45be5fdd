from heapwright.cli import main

main()
