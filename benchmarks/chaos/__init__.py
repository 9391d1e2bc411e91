"""What happens to requests when the service is overloaded, killed, stopped, fed what it cannot run or asked by one
client for far more than by another, and to memory?

Each module has one `measure`, one result file and one planted fault that its check must catch. All judge by the
ledger: LOST and WRONG are 0 everywhere, and RESET is allowed for nobody.
"""
