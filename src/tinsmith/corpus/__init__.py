"""From files to text worth learning from: read, judged by rules, compared, written anew; nothing here asks anybody."""
