"""From one Deployment, one secret and one role to the folder that leads to the first rotation.

`sources` reads what there is, `deciding` says what it means or what to ask, `refusals` what cannot
be adopted; `twin`, `database`, `rights`, `entry`, `moves` and `forms` write. `cluster`, `vault` and
`server` talk to somebody, and change nothing.
"""
