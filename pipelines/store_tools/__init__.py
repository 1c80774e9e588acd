"""Looking at a store, comparing its versions, tidying it and describing it to other tools."""
