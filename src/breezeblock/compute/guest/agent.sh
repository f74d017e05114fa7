# The shell agent on the second serial port. A line "ID" is a ping; a line "ID BASE64(script)" runs a
# script. The answer is a line "@@ID start", the script's output, and a line "@@ID STATUS".
while read -r id script; do
    [ -n "$id" ] || continue
    printf '\n@@%s start\n' "$id"
    if [ -n "$script" ]; then
        printf '%s' "$script" | base64 -d > /tmp/script 2> /dev/null
        sh /tmp/script 2>&1 < /dev/null
    fi
    printf '\n@@%s %s\n' "$id" "$?"
done
