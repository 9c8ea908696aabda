"""Microsoft's durable extension on Azure Storage, in place of the engine of our own.

`src/` is a WebJobs host around the extension, the code that the Functions host loads; it runs the
app's functions by asking the local host for each (`bridge`). Its storage is Azurite (`storage`).
"""
