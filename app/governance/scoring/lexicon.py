"""The words that scores of version 1 look for, in lower case. To change one is to make a new version."""

# Carried out for somebody outside, where it cannot be taken back.
ACTING = frozenset(
    b"announce approve authorise authorize bid book buy cancel charge commit deploy email enable execute forward "
    b"grant hire install invite mail merge message notify order pay post publish purchase push refund release "
    b"reply schedule sell send share ship sign submit subscribe tell trade transfer tweet upload withdraw".split()
)
# What is gone afterwards.
DESTROYING = frozenset(
    b"chmod deactivate delete destroy disable discard drop erase expire format kill overwrite purge reboot remove "
    b"reset revert revoke rmdir shred shutdown terminate truncate uninstall unlink unsubscribe wipe".split()
)
# What only few should be near.
PRIVILEGED = frozenset(
    b"admin administrator bank billing classified confidential contract credential credentials customer diagnosis "
    b"employee fingerprint firewall invoice legal medical passport password passwords patient payment payroll "
    b"permission permissions prod production root salary secret secrets ssn sudo superuser token".split()
)
# What a task says that wants something which an agent can begin with.
INTENT = frozenset(
    b"add analyse analyze answer build calculate check classify clean code collect compare complete compute convert "
    b"correct count create debug define describe design detect develop document draft edit estimate evaluate explain "
    b"extend extract fill filter find fix format generate give group help implement improve list make measure merge "
    b"migrate optimise optimize outline parse plan port predict prepare profile program propose prove query rank "
    b"read refactor repair report research review rewrite rank say search show simplify solve sort suggest sum "
    b"summarise summarize test train transform translate update validate verify visualise visualize write".split()
)
# Said to an agent in the name of its operator.
OVERRIDES = (
    rb"(?:ignore|disregard|forget|override|bypass)\s{1,8}(?:(?:all|any|every)\s{1,8})?(?:of\s{1,8})?"
    rb"(?:(?:the|your|my|these)\s{1,8})?(?:(?:previous|prior|above|earlier|preceding|other|system|safety)\s{1,8})?"
    rb"(?:instructions?|rules|prompts?|guidelines|directions)"
)
# They say nothing of what a text is about.
COMMON = frozenset(
    b"about after all also and any are because been before being between both but can could did does each else for "
    b"from had has have her here him his how into its just like may more most must not now off one only other our "
    b"out over please same shall she should some such than that the their them then there these they this those "
    b"through too under until upon very was were what when where which while who whom whose why will with without "
    b"would you your".split()
)
# Programs that run whatever they are given.
INTERPRETERS = frozenset(
    b"ash awk bash cmd csh dash deno docker env eval fish ksh kubectl node nodejs osascript perl php podman "
    b"powershell pwsh python ruby sh ssh su sudo tclsh xargs zsh".split()
)
