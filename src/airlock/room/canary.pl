# Tries one way out for each argument and says what came of it. Core perl alone (no modules), so that it runs with
# nothing but the interpreter. Numbers and addresses are made by the caller, who knows the platform.
#   connect FAMILY TYPE PROTOCOL ADDRESS    socket, connect, send a byte, wait for an answer
#   send    FAMILY TYPE PROTOCOL ADDRESS    socket, send to
#   socket  FAMILY TYPE PROTOCOL
#   call    NUMBER ARGUMENT ...             a system call
#   name    NAME                            look it up the way any program would
# Answers, one line each: CANARY <tab> number of the argument <tab> errno, "out", "timeout" or "unknown-name".
$| = 1;
sub try_out {
    my ($verb, @words) = @_;
    if ($verb eq 'name') {
        my @found = gethostbyname $words[0];
        return @found ? 'out' : 'unknown-name';
    }
    if ($verb eq 'call') {
        my $buffer = "\0" x 256;
        my @numbers = map { $_ eq 'buffer' ? $buffer : $_ + 0 } @words;
        return syscall(shift @numbers, @numbers) < 0 ? $! + 0 : 'out';
    }
    my ($family, $type, $protocol, $address) = @words;
    socket(my $socket, $family, $type, $protocol) or return $! + 0;
    return 'out' if $verb eq 'socket';
    my $bytes = pack 'H*', $address;
    if ($verb eq 'send') {
        return defined(send $socket, "\x08\0\xf7\xff\0\0\0\0", 0, $bytes) ? 'out' : $! + 0;
    }
    connect($socket, $bytes) or return $! + 0;
    return $! + 0 unless defined send $socket, 'x', 0;
    return defined(sysread $socket, my $answer, 1) ? 'out' : $! + 0;
}
for my $number (0 .. $#ARGV) {
    my $outcome = eval {
        local $SIG{ALRM} = sub { die "timeout\n" };
        alarm 5;
        my $said = try_out(split /,/, $ARGV[$number]);
        alarm 0;
        $said;
    };
    print "CANARY\t$number\t", defined $outcome ? $outcome : 'timeout', "\n";
}
