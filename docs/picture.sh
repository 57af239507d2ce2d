#!/bin/sh
# Take the first screen of a bundle's report as pictures: docs/picture.sh BUNDLE FOLDER
# The first of them is the picture of the README. Needs chromium.
set -eu
page=$(realpath "$1")/report.html
folder=$(realpath "$2")
take() {
    chromium --headless --no-sandbox --hide-scrollbars --window-size="$2" "$3" \
        --screenshot="$folder/$1.png" "file://$page" 2>/dev/null
    echo "$folder/$1.png"
}
take report 1100,800 --blink-settings=preferredColorScheme=1
take report-phone 390,844 --blink-settings=preferredColorScheme=1
take report-dark 1100,800 --blink-settings=preferredColorScheme=0
