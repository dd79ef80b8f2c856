<?php
// Verify a webhook of MarqetFi with PHP alone. Try it on one: php verify_webhook.php HEADERS.json BODY
//
// WEBHOOK_SECRET holds the endpoint's secret. HEADERS.json is an object of the request's headers, BODY the file of its
// raw body. It prints the event and exits 0, or says what is wrong and exits 1.

const TOLERANCE_SECONDS = 300;
const HEADERS = ['webhook-id', 'webhook-timestamp', 'webhook-signature'];

// The event of a request; throws where it is not ours, or not of the last five minutes. In a web server the headers
// are getallheaders(), and the body is file_get_contents('php://input').
function verify(array $headers, string $body, string $secret): array
{
    $given = array_change_key_case($headers, CASE_LOWER);
    foreach (HEADERS as $name) {
        if (($given[$name] ?? '') === '') {
            throw new RuntimeException("the request has no header $name");
        }
    }
    [$id, $timestamp, $signatures] = array_map(fn (string $name): string => $given[$name], HEADERS);
    if (abs(time() - (int) $timestamp) > TOLERANCE_SECONDS) {
        throw new RuntimeException('the request is too old, or a clock is wrong');
    }
    $prefix = 'whsec_';
    $key = str_starts_with($secret, $prefix) ? base64_decode(substr($secret, strlen($prefix)), true) : $secret;
    if ($key === false) {
        throw new RuntimeException('the secret is not base64 after whsec_');
    }
    if ($key === '') {
        throw new RuntimeException('the secret is empty');
    }
    // The bytes as they came: JSON that was parsed and written again is another text.
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    // While a secret is being rotated there are two signatures: one that fits is enough.
    foreach (explode(' ', $signatures) as $signature) {
        if (hash_equals($expected, $signature)) {
            return json_decode($body, true, 512, JSON_THROW_ON_ERROR);
        }
    }
    throw new RuntimeException('the signature does not match');
}

if (PHP_SAPI === 'cli' && realpath($argv[0]) === __FILE__) {
    if ($argc !== 3) {
        fwrite(STDERR, "give two files: HEADERS.json BODY\n");
        exit(1);
    }
    try {
        foreach (array_slice($argv, 1) as $name) {
            if (!is_readable($name)) {
                throw new RuntimeException("$name cannot be read");
            }
        }
        $headers = json_decode(file_get_contents($argv[1]), true, 512, JSON_THROW_ON_ERROR);
        $event = verify($headers, file_get_contents($argv[2]), (string) getenv('WEBHOOK_SECRET'));
    } catch (RuntimeException | JsonException $error) {
        fwrite(STDERR, 'refused: ' . $error->getMessage() . "\n");
        exit(1);
    }
    echo $event['event_type'], ' ', $event['data']['sequence'], "\n";
}
